# Goes to heapkeeper.cmake beside the top CMakeLists.txt, which says include(heapkeeper.cmake) before its first
# add_executable. ctest then starts the programs that were built on our heap; a new finding fails the test (exit
# status 97). A test that is a script stays as it is: add_test(NAME x COMMAND heapkeeper check -- ./script).
# Undo: cmake -DHEAPKEEPER_TESTS=OFF, or remove the include.
option(HEAPKEEPER_TESTS "Run the tests on Heapkeeper's heap" ON)
if(HEAPKEEPER_TESTS)
  find_program(HEAPKEEPER_COMMAND heapkeeper REQUIRED)
  if(CMAKE_VERSION VERSION_LESS 3.29)
    # Has no launcher for tests alone: built programs that the build itself starts are on our heap too.
    set(CMAKE_CROSSCOMPILING_EMULATOR "${HEAPKEEPER_COMMAND};check;--")
  else()
    set(CMAKE_TEST_LAUNCHER "${HEAPKEEPER_COMMAND};check;--")
  endif()
endif()
