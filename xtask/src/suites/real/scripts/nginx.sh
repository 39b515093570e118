# nginx with two workers serves files and errors under load, reloads its configuration and ends in good order.
folder=$(mktemp -d)
mkdir $folder/html $folder/logs
chmod 755 $folder $folder/html
seq 1 20000 > $folder/html/numbers.txt
echo 'a page' > $folder/html/index.html
port=$((20000 + $$ % 20000))
cat > $folder/nginx.conf <<CONF
daemon off;
user $(id -un);
worker_processes 2;
pid $folder/pid;
error_log $folder/logs/error.log warn;
events { worker_connections 256; }
http {
    access_log $folder/logs/access.log;
    gzip on; gzip_types text/plain; gzip_min_length 100;
    client_body_temp_path $folder/body; proxy_temp_path $folder/proxy; fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi; scgi_temp_path $folder/scgi;
    server {
        listen 127.0.0.1:$port;
        root $folder/html;
        location /moved { return 301 /index.html; }
        location /through/ { proxy_pass http://127.0.0.1:$port/; }
    }
}
CONF
/usr/sbin/nginx -p $folder -c $folder/nginx.conf -e $folder/logs/error.log &
server=$!
url=http://127.0.0.1:$port
for try in $(seq 1 100); do curl -s -o /dev/null $url/ && break; sleep 0.1; done
ab -q -n $((4000 * SCALE)) -c 8 -k $url/numbers.txt 2>&1 | grep -E '^(Complete requests|Failed requests|Non-2xx)'
ab -q -n $((1000 * SCALE)) -c 8 -H 'Accept-Encoding: gzip' $url/through/numbers.txt 2>&1 | grep -E '^(Complete requests|Failed requests|Non-2xx)'
kill -HUP $server
sleep 0.5
curl -s $url/ ; curl -s --compressed $url/numbers.txt | sha256sum
curl -s -o /dev/null -w '%{http_code}\n' $url/nothing
curl -s -o /dev/null -w '%{http_code}\n' $url/moved
head -c 300000 /dev/zero | curl -s -o /dev/null -w '%{http_code}\n' --data-binary @- $url/through/index.html
kill -QUIT $server
wait $server
echo "server $?"
grep -v 'client intended\|405' $folder/logs/error.log | grep -c -E 'alert|emerg|crit'
rm -rf $folder
