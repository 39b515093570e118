# bash with a thousand forks, pipelines, arrays and substitutions.
declare -A table
for i in $(seq 1 $((300 * SCALE))); do
    value=$(echo $((i * i)) | tr 0-9 a-j)
    table[$value]=$(( ${table[$value]:-0} + $(printf %d "$i") ))
done
echo "${#table[@]}"
for key in "${!table[@]}"; do echo "$key ${table[$key]}"; done | sort | sha256sum
text=""
for i in $(seq 1 5000); do text+="word$i "; done
echo "${#text} ${text//word1/X}" | cut -c1-40
mapfile -t lines < <(seq 1 20000)
echo "${#lines[@]} ${lines[19999]}"
find /usr/share/doc -maxdepth 1 -print0 | xargs -0 -n 20 -P 4 echo | wc -w
( for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i; exit $i) & done; wait; echo "waited" )
x=$(trap 'echo trapped' USR1; kill -USR1 $BASHPID; echo "$?"); echo $x
