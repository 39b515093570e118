# Hashes, sorting, regular expressions, closures and forks in perl.
perl - "$SCALE" <<'PERL'
use strict; use warnings;
my $n = 60000 * shift;
my (%count, @words);
my $state = 42;
for my $i (1 .. $n) {
    $state = ($state * 1103515245 + 12345) % 2147483648;
    my $word = join '', map { chr(97 + ($state >> $_) % 26) } 3, 8, 13, 18;
    $count{$word}++;
    push @words, $word . $i;
}
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$_ $count{$_}\n" for @sorted[0 .. 9];
my $text = join ' ', @words;
my $hits = () = $text =~ /\b([a-m]+)([n-z]+)\d*7\b/g;
(my $turned = $text) =~ s/(\w)(\w+)/$2$1/g;
print "$hits ", length($turned), ' ', unpack('%32C*', $turned), "\n";
my @closures = map { my $k = $_; sub { $k += $_[0] } } 1 .. 20000;
my $sum = 0; $sum += $_->(3) for @closures; print "$sum\n";
my %tree; my $node = \%tree; for my $k (1 .. 20000) { $node->{next} = { value => $k, self => [1 .. 5] }; $node = $node->{next} }
for (1 .. 50) {
    my $pid = fork // die;
    if (!$pid) { my @own = map { { $_ => [$_] } } 1 .. 2000; exit(scalar(@own) == 2000 ? 0 : 1) }
    waitpid $pid, 0; die "child $?" if $?;
}
print "done\n";
PERL
echo "status $?"
