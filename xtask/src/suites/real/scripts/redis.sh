# redis-server under redis-benchmark. Debian's is linked to jemalloc and calls its own functions beside malloc.
folder=$(mktemp -d) # a socket's path must be short
redis-server --port 0 --unixsocket $folder/socket --save '' --appendonly no --dir $folder --daemonize no \
    --io-threads 2 --logfile $folder/log >/dev/null 2>&1 &
server=$!
cli="redis-cli -s $folder/socket"
for try in $(seq 1 100); do $cli ping >/dev/null 2>&1 && break; sleep 0.1; done
redis-benchmark -s $folder/socket -q -n $((8000 * SCALE)) -c 20 -P 4 -d 200 -r 5000 \
    -t set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,mset >$folder/bench 2>&1
echo "benchmark $?"
$cli flushall
$cli config set maxmemory 20mb
$cli config set maxmemory-policy allkeys-lru
$cli eval 'for i = 1, 20000 do redis.call("set", "key" .. i, string.rep("x", i % 3000)) end return redis.call("dbsize") > 100' 0
$cli config set maxmemory 0
$cli flushall
$cli eval 'for i = 1, 5000 do redis.call("hset", "hash" .. i % 50, "field" .. i, i * i) redis.call("zadd", "scores", i % 77, i) end return 1' 0
$cli debug digest
$cli memory purge
$cli --no-raw hget hash7 field57
$cli zrange scores 0 5 withscores
$cli bgsave >/dev/null
for try in $(seq 1 100); do $cli info persistence | grep -q 'rdb_bgsave_in_progress:0' && break; sleep 0.1; done
$cli info persistence | grep -E 'rdb_last_bgsave_status' | tr -d '\r'
$cli memory malloc-stats | grep -cv '^$' | sed 's/[0-9][0-9]*/some lines/'
$cli shutdown nosave
wait $server
echo "server $?"
rm -rf $folder
