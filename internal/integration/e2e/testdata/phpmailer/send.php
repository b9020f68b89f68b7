<?php
require 'libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

$s = json_decode(file_get_contents('php://stdin'), true);
$mail = new PHPMailer(true);
$mail->isSMTP();
$mail->Host = $s['server'];
$mail->Port = $s['port'];
$mail->SMTPSecure = $s['implicit_tls'] ? PHPMailer::ENCRYPTION_SMTPS : PHPMailer::ENCRYPTION_STARTTLS;
$mail->SMTPOptions = ['ssl' => ['cafile' => $s['certificate']]];
$mail->SMTPAuth = true;
$mail->Username = $s['username'];
$mail->Password = $s['password'];
$mail->CharSet = 'utf-8';
$mail->Encoding = '8bit';
$mail->Sender = $s['from'];
$mail->setFrom($s['header_from']);
$mail->addAddress($s['to']);
$mail->Subject = $s['subject'];
$mail->Body = $s['text'];
if ($s['attachment']) {
    $mail->addStringAttachment(base64_decode($s['attachment']), 'data.bin');
}
try {
    $mail->send();
} catch (Exception $e) {
    echo $mail->ErrorInfo;
    exit(1);
}
