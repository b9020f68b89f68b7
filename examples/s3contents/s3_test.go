package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestContents(t *testing.T) {
	endpoint := startServer(t)
	storetest.RunContents(t, func(t *testing.T) func() store.Contents {
		contents := newBucket(t, endpoint)
		return func() store.Contents { return contents }
	})
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, newBucket(t, startServer(t))); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "kept and read 35 bytes\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSettings(t *testing.T) {
	for _, endpoint := range []string{"", "s3.example.com", "://"} {
		if _, err := newContents(endpoint, "mail", "key", "secret"); err == nil {
			t.Errorf("endpoint %q: got no error", endpoint)
		}
	}
}

const accessKey, secretKey = "gatepost", "a secret of the test"

// newBucket makes a bucket and returns its Contents.
func newBucket(t *testing.T, endpoint string) *Contents {
	t.Helper()
	bucket := fmt.Sprintf("mail-%x", []byte(rand.Text())[:8])
	contents, err := newContents(endpoint, bucket, accessKey, secretKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := contents.client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return contents
}

// startServer starts a versitygw, an S3 server on a directory, until the end of
// the test.
func startServer(t *testing.T) (endpoint string) {
	t.Helper()
	program, err := exec.LookPath("versitygw")
	if err != nil && os.Getenv("REQUIRE_SERVICES") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("versitygw is missing; install it with: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 (%v)", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--port", addr, "--access", accessKey, "--secret", secretKey, "--quiet",
		"posix", "--sidecar", t.TempDir(), t.TempDir())
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw:\n%s", &log)
		}
	})
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return "http://" + addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("versitygw does not answer on " + addr)
	return ""
}
