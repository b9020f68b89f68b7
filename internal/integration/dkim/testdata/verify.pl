# Reads a JSON object a line: a message in base64, and the TXT records of names.
# Answers each with one line of JSON: the result of each signature.
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Mail::DKIM::Verifier;
use Net::DNS;

my $records;
{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name) = @_;
        my $text = $records->{$name};
        return unless defined $text;
        return Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => [$text =~ /(.{1,255})/gs]);
    };
}

while (my $line = <STDIN>) {
    my $given = decode_json($line);
    $records = $given->{records};
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT(decode_base64($given->{message}));
    $verifier->CLOSE;
    print encode_json([map { $_->result eq 'pass' ? 'pass' : $_->result_detail } $verifier->signatures]), "\n";
}
