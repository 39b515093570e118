-- Binary trees, and tables of strings that come and go.
local function grow(depth)
  if depth == 0 then return {} end
  return { grow(depth - 1), grow(depth - 1) }
end

local function count(tree)
  if not tree[1] then return 1 end
  return 1 + count(tree[1]) + count(tree[2])
end

local long_lived = grow(15)
local total = 0
for depth = 4, 14, 2 do
  for _ = 1, 2 ^ (16 - depth) do total = total + count(grow(depth)) end
end

local names = {}
for i = 1, 150000 do
  names[i % 5000 + 1] = { key = "name" .. i, value = string.rep("x", i % 40), list = { i, i + 1 } }
end
local parts = {}
for _, entry in ipairs(names) do parts[#parts + 1] = entry.key .. "=" .. entry.value end
print(total, count(long_lived), #table.concat(parts, ";"))
