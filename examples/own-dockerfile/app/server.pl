# Counts its visits. Perl, because every Debian image has it; anything that listens would do.
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
$SIG{TERM} = sub { print "stopping\n"; exit 0 };
my $port   = $ENV{PORT} || 8080;
my $file   = '/srv/data/visits';
my $server = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 16, ReuseAddr => 1)
  or die "cannot listen on $port: $!\n";
print "listening on port $port\n";

while (1) {
    my $client = $server->accept or next;
    my ($path) = (<$client> // '') =~ m{^GET (\S+)} or next;
    while (my $line = <$client>) { last if $line =~ /^\r?$/ }
    my $body = $path eq '/healthz' ? "ok\n" : visit();
    print $client "HTTP/1.1 200 OK\r\nContent-Length: ", length $body, "\r\nConnection: close\r\n\r\n$body";
    close $client;
}

sub visit {
    my $visits = 0;
    if (open my $in, '<', $file) { $visits = <$in> }
    open my $out, '>', $file or die "$file: $!\n";
    print $out ++$visits;
    close $out;
    print "visit $visits\n";
    return "visit $visits\n";
}
