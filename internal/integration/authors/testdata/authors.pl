# Reads values of a From field, one a line in base64. Answers each with one line
# of JSON: the addresses that every way of reading finds.
use strict;
use warnings;
no warnings 'recursion';
use Email::Address;
use Email::Address::XS qw(parse_email_addresses);
use Encode qw(decode_utf8);
use JSON::PP;
use MIME::Base64;
use Mail::Address;

my $json = JSON::PP->new->ascii->canonical;
local $SIG{__WARN__} = sub { };

while (my $line = <STDIN>) {
    my $text = decode_utf8(decode_base64($line));
    (my $unfolded = $text) =~ s/\r\n//g;
    (my $lf = $text) =~ s/\r\n/\n/g;
    my %forms = (CRLF => $text, LF => $lf, unfolded => $unfolded);
    my %answers;
    for my $name (keys %forms) {
        my $form = $forms{$name};
        $answers{"Mail::Address $name"} = [grep { defined } map { $_->address } Mail::Address->parse($form)];
        $answers{"Email::Address $name"} = [grep { defined } map { $_->address } Email::Address->parse($form)];
        $answers{"Email::Address::XS $name"} = [map { $_->address } grep { $_->is_valid } parse_email_addresses($form)];
    }
    print $json->encode(\%answers), "\n";
}
