# A repository is made, cloned, packed, checked and searched.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME="$PWD" GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
export GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@d
git init -q -b main repository && cd repository
for commit in $(seq 1 $((15 * SCALE))); do
    for file in $(seq 1 40); do
        folder="folder$((file % 5))"; mkdir -p $folder
        seq $((file * commit)) $((file * commit + 300)) > $folder/$file
    done
    git add -A
    GIT_AUTHOR_DATE="$((1500000000 + commit)) +0000" GIT_COMMITTER_DATE="$((1500000000 + commit)) +0000" \
        git commit -q -m "commit $commit" || exit 1
done
git checkout -q -b side HEAD~5 && git merge -q -m merge main && git checkout -q main
cd .. && git clone -q --no-local repository copy && cd copy
git -c gc.auto=0 gc -q --prune=now --aggressive && git fsck --full --strict 2>&1 | grep -v '^Checking'
git log --format='%H %s' | head -3
git log -p | sha256sum
git grep -c 777 | sha256sum
git diff HEAD~10 --stat | tail -1
git blame folder1/1 | sha256sum
git repack -q -a -d -f --threads=2 && git count-objects -v | grep -E '^(in-pack|packs)'
cd .. && rm -rf repository copy .gitconfig
