// Command s3contents shows how to keep the contents of large mails in object
// storage: s3.go is a store.Contents on any server that speaks S3, and
// s3_test.go shows that it keeps every promise of the contract.
//
//	S3_ENDPOINT=https://s3.example.com S3_BUCKET=mail \
//	S3_ACCESS_KEY=... S3_SECRET_KEY=... go run ./s3contents
//
// The program keeps a content, reads it again and drops it. In a relay, the
// same value is the Contents of an sqlstore.Store:
//
//	st := sqlstore.New(db, sqlstore.Postgres)
//	st.Contents = contents
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	contents, err := newContents(os.Getenv("S3_ENDPOINT"), os.Getenv("S3_BUCKET"), os.Getenv("S3_ACCESS_KEY"), os.Getenv("S3_SECRET_KEY"))
	if err == nil {
		err = run(ctx, os.Stdout, contents)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run keeps a content, reads it again and drops it.
func run(ctx context.Context, out io.Writer, contents store.Contents) error {
	const name, text = "example", "From: shop@acme.example\r\n\r\nHello.\r\n"
	if err := contents.Keep(ctx, name, strings.NewReader(text), int64(len(text))); err != nil {
		return err
	}
	r, err := contents.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "kept and read %d bytes\n", n)
	return contents.Drop(ctx, name)
}
