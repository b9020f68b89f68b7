package relay

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLongLines(t *testing.T) {
	x := strings.Repeat("x", 998)
	for _, test := range []struct {
		content string
		want    int
	}{
		{"", 0},
		{x + "\r\n", 0},
		{x + "\n", 0},
		{x, 0},
		{x + "y\r\n", 1},
		{x + "y\n", 1},
		{x + "y", 1},
		{x + "yy\r\na\r\n" + x + x + "\n" + x + "\r\n", 2},
		{"a\r\n\r\n" + x + "y\r\n.\r\n", 1},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.content), iotest.OneByteReader(strings.NewReader(test.content))} {
			in, err := receive(r, 1<<20, 0, new(tempSpace))
			if err != nil || in.longLines != test.want {
				t.Errorf("%.10q… of %d bytes from %T: got %d long lines and error %v, want %d", test.content, len(test.content), r, in.longLines, err, test.want)
			}
		}
	}
}
