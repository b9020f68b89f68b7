module github.com/gatepost-mail/gatepost/examples

go 1.26.0

require github.com/gatepost-mail/gatepost v0.0.0

replace github.com/gatepost-mail/gatepost => ../
