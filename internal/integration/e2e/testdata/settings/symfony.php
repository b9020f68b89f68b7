<?php
// Sends with Symfony Mailer. Arguments: the snippet, and "symfony" or "laravel",
// whose .env names the same mailer's settings differently.
require 'Symfony/Component/Mailer/autoload.php';

use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mailer\Transport\Dsn;
use Symfony\Component\Mailer\Transport\Smtp\EsmtpTransportFactory;
use Symfony\Component\Mime\Email;

$env = [];
foreach (file($argv[1], FILE_IGNORE_NEW_LINES) as $line) {
    if ($line !== '' && $line[0] !== '#') {
        [$name, $value] = explode('=', $line, 2);
        $env[$name] = trim($value, '"');
    }
}
if ($argv[2] === 'symfony') {
    $transport = Transport::fromDsn($env['MAILER_DSN']);
} elseif (isset($env['MAIL_URL'])) {
    $transport = Transport::fromDsn($env['MAIL_URL']);
} else {
    $transport = (new EsmtpTransportFactory())->create(new Dsn(
        $env['MAIL_SCHEME'], $env['MAIL_HOST'], $env['MAIL_USERNAME'], $env['MAIL_PASSWORD'], (int) $env['MAIL_PORT']
    ));
}
$transport->send((new Email())
    ->from($env['MAIL_FROM_ADDRESS'] ?? $argv[3])
    ->to('you@example.com')->subject('test')->text('Hello'));
