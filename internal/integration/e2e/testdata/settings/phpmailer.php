<?php
// Sends with PHPMailer. Arguments: the snippet, and "phpmailer" for PHP code or
// "wordpress" for the fields of a WordPress plugin, which set up PHPMailer.
require 'libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

$mail = new PHPMailer(true);
if ($argv[2] === 'phpmailer') {
    eval('use PHPMailer\PHPMailer\PHPMailer;' . file_get_contents($argv[1]));
} else {
    $fields = [];
    foreach (file($argv[1], FILE_IGNORE_NEW_LINES) as $line) {
        [$name, $value] = explode(': ', $line, 2);
        $fields[$name] = $value;
    }
    $mail->isSMTP();
    $mail->Host = $fields['SMTP Host'];
    $mail->Port = (int) $fields['SMTP Port'];
    $mail->SMTPSecure = strtolower($fields['Encryption']);
    $mail->SMTPAuth = $fields['Authentication'] === 'On';
    $mail->Username = $fields['SMTP Username'];
    $mail->Password = $fields['SMTP Password'];
    $mail->setFrom($fields['From Email']);
}
$mail->addAddress('you@example.com');
$mail->Subject = 'test';
$mail->Body = 'Hello';
$mail->send();
