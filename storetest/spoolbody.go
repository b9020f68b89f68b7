package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing/iotest"

	"github.com/gatepost-mail/gatepost/store"
)

var bodyPromises = []spoolPromise{
	{
		name:  "Body/EverySize",
		words: "Body returns the content of a mail, to be read in pieces while ctx lasts, and to be closed.",
		check: func(t *spooler) {
			const k = 1 << 10
			for i, size := range []int64{0, 1, 4 * k, 64*k - 1, 64 * k, 64*k + 1, 256*k - 1, 256 * k, 256*k + 1, 1024*k - 1, 1024 * k, 1024*k + 1, 5_000_000} {
				t.putAndRead(fmt.Sprintf("m%02d", i), size)
			}
		},
	},
	{
		name:  "Body/64MiB",
		words: "Body returns the content of a mail, to be read in pieces while ctx lasts, and to be closed.",
		check: func(t *spooler) { t.putAndRead("m1", 64<<20) },
	},
	{
		name:  "Body/EveryByte",
		words: "Put keeps a mail, its content (the m.Size bytes of body) and its deliveries",
		check: func(t *spooler) {
			var all []byte
			for i := range 256 {
				all = append(all, byte(i), byte(255-i))
			}
			t.putAs(newMail("m1"), newDeliveries(1), string(all))
			t.has("m1", string(all))
			t.has("m1", string(all)) // each call from the beginning
		},
	},
	{
		name:  "Body/NotFound",
		words: "ErrNotFound: there is no such mail.",
		check: func(t *spooler) {
			put := t.put("m1", 1)
			t.gone("m2")
			t.gone("")
			t.settle(done(put[0]))
			t.gone("m1")
		},
	},
	{
		name: "Body/ReaderAt",
		words: "A reader that is an io.ReaderAt too is not copied before the mail is sent. " +
			"Its ReadAt may be called until it is closed, also after ctx has ended.",
		check: func(t *spooler) {
			for i, size := range []int64{100, 100_000, 5 << 20} {
				id := fmt.Sprintf("m%d", i)
				m := newMail(id)
				m.Size = size
				t.ok(t.Put(t.Context(), m, newDeliveries(1), pattern(size)), "Put")
				ctx, cancel := context.WithCancel(t.Context())
				body, err := t.Body(ctx, id)
				t.ok(err, "Body")
				cancel()
				if at, ok := body.(io.ReaderAt); ok {
					for range 2 {
						t.ok(equalStreams(io.NewSectionReader(at, 0, size+1), pattern(size)), "ReadAt of %d bytes", size)
					}
				}
				t.ok(body.Close(), "Close")
			}
		},
	},
	{
		name: "Body/RemovedWhileRead",
		words: "Reading fails with ErrNotFound if the mail is removed before its end is read, or if a part of the content is missing; " +
			"a part is never passed off as the whole.",
		check: func(t *spooler) {
			for _, size := range []int64{100, 5 << 20} {
				m := newMail("m1")
				m.Size = size
				t.ok(t.Put(t.Context(), m, newDeliveries(1), pattern(size)), "Put")
				body, err := t.Body(t.Context(), "m1")
				t.ok(err, "Body")
				start := make([]byte, 10)
				_, err = io.ReadFull(body, start)
				t.ok(err, "reading the first bytes")
				t.settle(done(t.take(soon, 1)[0]))
				rest, err := io.ReadAll(body)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("reading a mail that went: got %v, want ErrNotFound or nothing", err)
				}
				if got := int64(len(start) + len(rest)); err == nil && got != size {
					t.Errorf("the body of a mail that went has %d bytes and no error, want %d bytes or an error", got, size)
				}
				t.ok(body.Close(), "Close")
			}
		},
	},
}

// putAndRead puts a mail of the size, from a reader that returns odd pieces,
// reads it again and removes it.
func (t *spooler) putAndRead(id string, size int64) {
	t.Helper()
	m := newMail(id)
	m.Size = size
	t.ok(t.Put(t.Context(), m, newDeliveries(1), iotest.DataErrReader(pattern(size))), "Put of %d bytes", size)
	body, err := t.second().Body(t.Context(), id)
	t.ok(err, "Body of %d bytes", size)
	t.ok(equalStreams(body, pattern(size)), "Body of %d bytes", size)
	t.ok(body.Close(), "Close")
	leased := t.lease(soon, 1)
	if len(leased) != 1 || leased[0].Mail != m {
		t.Fatalf("Lease: got %+v, want %+v", leased, store.Leased{Mail: m})
	}
	t.settle(done(leased[0].Delivery))
	t.gone(id)
}
