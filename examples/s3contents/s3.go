package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/gatepost-mail/gatepost/store"
)

// Contents is a [store.Contents] in a bucket, one object for each content.
type Contents struct {
	client *minio.Client
	bucket string
}

// newContents returns the Contents in a bucket, which must exist.
func newContents(endpoint, bucket, accessKey, secretKey string) (*Contents, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || bucket == "" {
		return nil, fmt.Errorf("s3contents: S3_ENDPOINT must be a URL and S3_BUCKET a name, got %q and %q", endpoint, bucket)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(accessKey, secretKey, ""),
		Secure: u.Scheme == "https",
	})
	if err != nil {
		return nil, fmt.Errorf("s3contents: %w", err)
	}
	return &Contents{client: client, bucket: bucket}, nil
}

// Keep implements [store.Contents]. S3 confirms an object when it is durable.
func (c *Contents) Keep(ctx context.Context, name string, content io.Reader, size int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	src := &source{r: content}
	_, err := c.client.PutObject(ctx, c.bucket, name, src, size, minio.PutObjectOptions{
		ContentType: "message/rfc822",
		// One request, so that an upload that is cut short leaves no parts.
		DisableMultipart: true,
	})
	if err = errors.Join(err, src.err); err != nil {
		return fmt.Errorf("s3contents: keep %s: %w", name, err)
	}
	if src.n != size {
		return fmt.Errorf("s3contents: keep %s: the content ends after %d of %d bytes", name, src.n, size)
	}
	if n, err := io.ReadFull(content, make([]byte, 1)); n > 0 {
		return fmt.Errorf("s3contents: keep %s: the content continues after %d bytes", name, size)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("s3contents: keep %s: %w", name, err)
	}
	return nil
}

// A source counts the bytes read from r and remembers the error of r. The S3 client
// does not always return that error.
type source struct {
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Open implements [store.Contents].
func (c *Contents) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	object, err := c.client.GetObject(ctx, c.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("s3contents: open %s: %w", name, notFound(err))
	}
	if _, err := object.Stat(); err != nil { // GetObject itself sends nothing
		object.Close()
		return nil, fmt.Errorf("s3contents: open %s: %w", name, notFound(err))
	}
	return reader{object, object}, nil
}

// A reader reads an object and tells when it was dropped. It hides that an object is
// an io.ReaderAt, because each ReadAt would be a request.
type reader struct {
	object io.Reader
	io.Closer
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.object.Read(p)
	return n, notFound(err)
}

// notFound turns S3's error for a missing object into [store.ErrNotFound].
func notFound(err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return err
}

// Drop implements [store.Contents]. S3 reports no error for a missing object.
func (c *Contents) Drop(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.client.RemoveObject(ctx, c.bucket, name, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("s3contents: drop %s: %w", name, err)
	}
	return nil
}
