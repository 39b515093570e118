# sort with several threads and with temporary files; compressors with threads.
awk -v n=$((400000 * SCALE)) 'BEGIN { s = 7; for (i = 0; i < n; i++) { s = (s * 16807) % 2147483647; print s, i % 1000, "a line of text" } }' > lines
LC_ALL=C sort --parallel=4 -S 20M lines | sha256sum
LC_ALL=C.UTF-8 sort --parallel=4 -S 100M -k2,2n -k1,1r lines | sha256sum
LC_ALL=C sort --parallel=2 -S 100M -u -k2,2 lines | sha256sum
xz -T2 -1 -c lines | xz -dc | sha256sum
gzip -c lines | gzip -dc | cmp - lines && echo same
tar cf - lines | tar tf -
rm lines
