// Allocates in containers, virtual functions, callbacks and handlers of exceptions.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

struct Node {
    virtual ~Node() = default;
    virtual std::string text(int depth) const = 0;
};

struct Leaf : Node {
    std::string name;
    explicit Leaf(std::string n) : name(std::move(n)) {}
    std::string text(int depth) const override { return std::string(depth, ' ') + name + " is a leaf of the tree\n"; }
};

struct Branch : Node {
    std::vector<std::unique_ptr<Node>> parts;
    std::string text(int depth) const override {
        std::string all;
        for (const auto &part : parts) all += part->text(depth + 1);
        return all;
    }
};

static std::unique_ptr<Node> grow(int depth, int width) {
    if (depth == 0) return std::make_unique<Leaf>("leaf number " + std::to_string(width));
    auto branch = std::make_unique<Branch>();
    for (int i = 0; i < width; i++) branch->parts.push_back(grow(depth - 1, width));
    return branch;
}

static int fail(int depth) {
    if (depth == 0) throw std::runtime_error(std::string(40, 'x'));
    try {
        std::string local(30 + depth, 'y');
        return fail(depth - 1) + static_cast<int>(local.size());
    } catch (const std::logic_error &) {
        return 0;
    }
}

int main() {
    size_t sum = 0;
    for (int round = 0; round < 12; round++) {
        sum += grow(5, 3)->text(0).size();
        std::map<std::string, std::vector<std::string>> map;
        for (int i = 0; i < 200; i++) map["a rather long key " + std::to_string(i * 7 % 50)].push_back(std::string(20 + i, 'v'));
        std::vector<std::string> words;
        for (const auto &[key, values] : map) words.insert(words.end(), values.begin(), values.end());
        std::function<bool(const std::string &, const std::string &)> longer = [&](const auto &a, const auto &b) {
            return (a + b).size() > (b + a + "and more than fits").size() || a.size() > b.size();
        };
        std::sort(words.begin(), words.end(), longer);
        try {
            fail(round);
        } catch (const std::exception &error) {
            sum += std::string(error.what()).size();
        }
        sum += std::regex_match(words.front(), std::regex("(a|v)*b?[a-z]+")) + words.size();
    }
    std::printf("%zu\n", sum);
}
