# Python's own tests, with every object taken from malloc. Times are cut from the output.
export PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
modules="test_dict test_list test_set test_tuple test_bytes test_re test_json test_gc test_weakref
    test_generators test_coroutines test_descr test_deque test_collections test_itertools test_functools
    test_math test_struct test_array test_zlib test_hashlib test_pickle test_copy test_heapq test_sort
    test_threading test_thread test_queue test_fork1 test_memoryview test_xml_etree test_ast test_compile
    test_exceptions test_contextlib test_enum test_dataclasses test_typing test_string test_unicode
    test_threading_local test_thread_local_bytecode test_sqlite3 test_ctypes test_csv test_bz2
    test_super test_class test_types test_slice test_range test_bigmem test_peepholer test_scope test_int
    test_long test_float test_complex test_statistics test_fractions test_bisect test_userdict test_userlist
    test_ordered_dict test_defaultdict test_frozen test_iter test_iterlen test_zip test_tarfile"
if [ "$SCALE" -gt 1 ]; then modules="$modules test_lzma test_zipfile test_subprocess test_os test_io test_asyncio test_socket
    test_concurrent_futures test_multiprocessing_fork test_mmap test_decimal test_random test_email test_tokenize
    test_importlib test_unittest test_datetime test_difflib test_faulthandler test_signal"; fi
present=""
for module in $modules; do
    [ -e /usr/lib/python3.11/test/$module.py ] || [ -d /usr/lib/python3.11/test/$module ] && present="$present $module"
done
/usr/bin/python3 -m test -j2 --timeout 300 --tempdir "$PWD" $present >log 2>&1
status=$?
grep -E '^(test_[a-z_0-9]+ (failed|crashed)|(All )?[0-9]+ tests? (OK|failed|skipped)|Tests result:)' log
[ $status -eq 0 ] || tail -40 log
rm -f log
echo "status $status"
