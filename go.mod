module github.com/gatepost-mail/gatepost

go 1.26.0
