// Memory that the program asks for and does not touch is not resident, be it malloc's, calloc's or realloc's.
#include "program.h"

int main(void) {
    size_t start = resident_bytes();
    char *large = malloc((size_t)3 << 30);
    REQUIRE(large != NULL, "3 GiB that nobody touches");
    large[0] = large[((size_t)3 << 30) - 1] = 1;
    char *zeroed = calloc(1, (size_t)2 << 30);
    REQUIRE(zeroed != NULL && zeroed[12345678] == 0 && zeroed[((size_t)2 << 30) - 1] == 0, "2 GiB of zeros");
    REQUIRE(resident_bytes() < start + (40 << 20), "%zu MiB resident", (resident_bytes() - start) >> 20);
    zeroed = realloc(zeroed, (size_t)4 << 30);
    REQUIRE(zeroed != NULL && zeroed[12345678] == 0, "4 GiB");
    free(large);
    free(zeroed);
    char *again = calloc(1, (size_t)2 << 30);
    REQUIRE(again != NULL && again[0] == 0 && again[((size_t)2 << 30) - 1] == 0, "zeros where something was");
    free(again);
    return done();
}
