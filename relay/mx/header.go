package mx

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gatepost-mail/gatepost/relay"
)

const (
	// maxHops is how many servers a message may have passed. RFC 5321 section
	// 6.3 wants it to be large, at least 100.
	maxHops = 100

	// maxHeader is how much of a message is looked through.
	maxHeader = 1 << 20
)

// checkHops refuses a message that has passed so many servers that it must be
// going in circles.
func checkHops(m *relay.Message) error {
	hops, err := countReceived(io.LimitReader(m.Content(), maxHeader))
	switch {
	case err != nil:
		return fmt.Errorf("reading the message: %w", err)
	case hops > maxHops:
		return final(554, "5.4.6", fmt.Sprintf("the message loops: it has passed more than %d servers", maxHops))
	}
	return nil
}

// countReceived counts the Received fields of a header.
func countReceived(r io.Reader) (n int, err error) {
	br := bufio.NewReaderSize(r, 2048)
	for begin := true; ; {
		line, err := br.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if begin && isReceived(line) {
			n++
		}
		if begin && len(bytes.TrimRight(line, "\r\n")) == 0 || err == io.EOF {
			return n, nil
		}
		if err != nil && !full {
			return n, err
		}
		begin = !full
	}
}

func isReceived(line []byte) bool {
	const name = "received"
	return len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) &&
		bytes.HasPrefix(bytes.TrimLeft(line[len(name):], " \t"), []byte(":"))
}
