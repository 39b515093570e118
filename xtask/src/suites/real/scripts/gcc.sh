# Large generated sources in C and C++ are compiled; the object files are compared.
awk -v n=$((120 * SCALE)) 'BEGIN {
    print "#include <stdio.h>\n#include <string.h>\nstruct order { long count, price; char name[32]; };";
    for (i = 0; i < n; i++) {
        printf "long f%d(struct order *o, long n) { long sum = %d; for (long i = 0; i < n; i++) {", i, i;
        printf " if (o[i].count %% %d == 0) sum += o[i].price * %d; else switch (o[i].name[i %% 32]) {", i % 17 + 2, i;
        for (k = 0; k < 12; k++) printf " case %d: sum ^= %d; break;", k * 5, k * i;
        print " default: sum -= strlen(o[i].name); } } return sum; }";
    }
    print "int main(void) { struct order o[3] = {{0}}; long sum = 0;";
    for (i = 0; i < n; i++) printf " sum += f%d(o, 3);\n", i;
    print " printf(\"%ld\\n\", sum); return 0; }";
}' > orders.c
gcc -O2 -g -c orders.c -o orders.o && gcc orders.o -o orders && ./orders
cat > types.cpp <<'CPP'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Tower : Tower<N - 1> {
    std::map<std::string, std::vector<std::tuple<int, std::variant<int, std::string, Tower<N - 1> *>>>> level;
    int total() const { int sum = N; for (auto &[k, v] : level) for (auto &[i, x] : v) sum += i + (int)k.size(); return sum + Tower<N - 1>::total(); }
};
template <> struct Tower<0> { int total() const { return 0; } };
int main() {
    Tower<40> tower;
    static_cast<Tower<12> &>(tower).level["abc"].emplace_back(5, std::string("x"));
    std::regex pattern("(a|b)*c[0-9]{2,3}");
    std::unordered_map<std::string, std::function<int(int)>> table;
    for (int i = 0; i < 100; i++) table["k" + std::to_string(i)] = [i](int x) { return x * i; };
    int sum = 0; for (auto &[k, f] : table) sum += f(2);
    std::cout << tower.total() << ' ' << sum << ' ' << std::regex_match("ababc123", pattern) << '\n';
}
CPP
g++ -std=c++17 -O2 -g -c types.cpp -o types.o && g++ types.o -o types && ./types
g++ -std=c++17 -O1 -flto -c types.cpp -o lto.o && g++ -flto=1 lto.o -o lto -O1 && ./lto
sha256sum orders.o types.o
rm -f orders types lto lto.o
