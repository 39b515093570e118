# Hashes of arrays, string building, regular expressions, sorting: what perl is used for.
use strict;
use warnings;
my $seed = 42;
sub draw { my $below = shift; $seed = ($seed * 1103515245 + 12345) % 2147483648; return int($seed / 65536) % $below; }

my (@lines, %index, %longest);
for my $number (1 .. 12000) {
    my $line = join " ", map { join "", map { chr(97 + draw(16)) } 1 .. 2 + draw(6) } 1 .. 3 + draw(5);
    push @lines, "$number: $line";
    push @{ $index{$_} }, $number for split / /, $line;
}
for my $line (@lines) {
    my ($number, @words) = $line =~ /(\w+)/g;
    my %seen = map { $_ => length } @words;
    for my $word (keys %seen) { $longest{ substr $word, 0, 2 } = $word if length $word > length($longest{ substr $word, 0, 2 } // ""); }
    $line =~ s/([a-d]+)/<$1>/g;
}
my @ranked = sort { @{ $index{$b} } <=> @{ $index{$a} } || $a cmp $b } keys %index;
my $text = join "\n", map { "$_=" . join ",", @{ $index{$_} } } @ranked;
my %copy = map { my ($word, $list) = split /=/; $word => [split /,/, $list] } split /\n/, $text;
print scalar(@ranked), " ", length $text, " ", scalar(keys %copy), " $ranked[0] ", scalar(keys %longest), " ", length join("", @lines), "\n";
