/* Twenty days of a service in half a second. Sessions come and go with the time of day: twenty times the load rises from 100
 * sessions to 2000 and falls again. Each session is of one of five kinds with sizes of its own, grows in bursts and a
 * buffer with them, and one block in fifty that it makes goes to a cache, of which entries leave slowly and at random. */
#include "common.h"

enum { DAYS = 20, HOURS = 24, SESSIONS = 2000, BLOCKS = 120, CACHE = 30000 };
typedef struct { void *blocks[BLOCKS]; unsigned char *buffer; size_t buffer_bytes; int count, kind; } session_t;
static session_t sessions[SESSIONS];
static void *cache[CACHE];
static const uint32_t kinds[5][2] = {{16, 48}, {40, 160}, {100, 400}, {300, 1200}, {24, 3000}};

static uint64_t end(session_t *s) {
    uint64_t sum = 0;
    for (int i = 0; i < s->count; i++) sum += block_end(s->blocks[i]);
    free(s->buffer);
    memset(s, 0, sizeof *s);
    return sum;
}

static void grow(session_t *s, rng_t *rng) {
    size_t more = 64 + rng_below(rng, 700);
    if (s->buffer_bytes + more > 40000) return;
    s->buffer = must(realloc(s->buffer, s->buffer_bytes + more));
    memset(s->buffer + s->buffer_bytes, (int)more & 0xff, more);
    s->buffer_bytes += more;
}

static uint64_t burst(session_t *s, rng_t *rng) {
    uint64_t sum = 0;
    const uint32_t *range = kinds[s->kind];
    for (int n = 4 + (int)rng_below(rng, 12); n > 0; n--) {
        void *block = block_new(range[0] + rng_below(rng, range[1] - range[0]));
        if (rng_below(rng, 50) == 0) {
            void **slot = &cache[rng_below(rng, CACHE)];
            if (*slot) sum += block_end(*slot);
            *slot = block;
        } else if (s->count < BLOCKS) {
            s->blocks[s->count++] = block;
        } else {
            void **slot = &s->blocks[rng_below(rng, BLOCKS)];
            sum += block_end(*slot);
            *slot = block;
        }
    }
    grow(s, rng);
    return sum;
}

int main(void) {
    rng_t rng = {33};
    uint64_t sum = 0;
    for (int hour = 0; hour < DAYS * HOURS; hour++) {
        int time = hour % HOURS, wanted = 100 + (SESSIONS - 100) * (time < 12 ? time : HOURS - time) / 12;
        for (int i = 0; i < SESSIONS; i++) {
            session_t *s = &sessions[i];
            int active = i < wanted;
            if (s->count && (!active || rng_below(&rng, 6) == 0)) sum += end(s);
            if (!active) continue;
            if (!s->count) s->kind = (int)rng_below(&rng, 5);
            sum += burst(s, &rng);
        }
        for (int i = 0; i < CACHE / 50; i++) {
            void **slot = &cache[rng_below(&rng, CACHE)];
            if (*slot) sum += block_end(*slot);
            *slot = NULL;
        }
    }
    for (int i = 0; i < SESSIONS; i++) sum += end(&sessions[i]);
    for (int i = 0; i < CACHE; i++) if (cache[i]) sum += block_end(cache[i]);
    printf("%llu\n", (unsigned long long)sum);
}
