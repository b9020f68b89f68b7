package authors_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

var (
	authorSeed  = flag.Uint64("author-seed", 1, "seed of the From fields that TestAuthors makes")
	authorCount = flag.Int("author-count", defaultCount(), "number of accepted From fields that TestAuthors compares")
)

// defaultCount is how many From fields TestAuthors compares if no flag says it.
func defaultCount() int {
	if services.Long() {
		return 3000
	}
	return 300
}

func TestMain(m *testing.M) { services.Main(m) }

// TestAuthors makes From fields, keeps those that a user of acme.example may send,
// and has other programs read them. None of them finds an address of another
// domain.
func TestAuthors(t *testing.T) {
	corpus := acceptedAuthors(t)
	for _, reader := range []struct {
		name string
		read func(*testing.T, []byte) ([]byte, error)
	}{
		{"python", func(t *testing.T, in []byte) ([]byte, error) {
			return authorReader(t, in, services.Program(t, "python3"), filepath.Join("testdata", "authors.py"))
		}},
		{"perl", func(t *testing.T, in []byte) ([]byte, error) {
			perl := services.Program(t, "perl")
			if out, err := exec.Command(perl, "-MMail::Address", "-MEmail::Address", "-MEmail::Address::XS", "-e", "1").CombinedOutput(); err != nil {
				services.Missing(t, fmt.Errorf("perl lacks Mail::Address, Email::Address or Email::Address::XS: %s", out))
			}
			return authorReader(t, in, perl, filepath.Join("testdata", "authors.pl"))
		}},
		{"node", func(t *testing.T, in []byte) ([]byte, error) {
			node := services.Program(t, "node")
			dir, err := authorPackages()
			if err != nil {
				services.Missing(t, fmt.Errorf("cannot install the address parsers of Node: %w", err))
			}
			return authorReader(t, in, node, filepath.Join(dir, "authors.js"))
		}},
		{"go", func(_ *testing.T, in []byte) ([]byte, error) { return readWithGo(in) }},
	} {
		t.Run(reader.name, func(t *testing.T) {
			t.Parallel()
			var in bytes.Buffer
			for _, value := range corpus {
				fmt.Fprintln(&in, base64.StdEncoding.EncodeToString([]byte(value)))
			}
			out, err := reader.read(t, in.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			compareAuthors(t, corpus, out)
		})
	}
}

// compareAuthors reads the answers of a program, a line for each value.
func compareAuthors(t *testing.T, corpus []string, out []byte) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	n, named := 0, 0
	for ; lines.Scan(); n++ {
		var answers map[string][]string
		if err := json.Unmarshal(lines.Bytes(), &answers); err != nil {
			t.Fatalf("answer %d: %v: %s", n+1, err, lines.Bytes())
		}
		for _, how := range slices.Sorted(maps.Keys(answers)) {
			for _, address := range answers[how] {
				if strings.HasSuffix(strings.ToLower(address), "@acme.example") {
					named++
				}
				if other := otherDomain(address); other != "" {
					t.Errorf("From:%q: %s finds %q, want only acme.example", corpus[n], how, address)
				}
			}
		}
	}
	if err := lines.Err(); err != nil || n != len(corpus) {
		t.Errorf("got %d answers and error %v, want %d", n, err, len(corpus))
	}
	if named < n/2 {
		t.Errorf("the program found %d addresses of acme.example in %d fields, want at least %d", named, n, n/2)
	}
}

// otherDomain returns the first domain in address that is not acme.example.
func otherDomain(address string) string {
	for _, domain := range strings.Split(address, "@")[1:] {
		if !strings.EqualFold(domain, "acme.example") {
			return domain
		}
	}
	return ""
}

func authorReader(t *testing.T, stdin []byte, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", program, err, stderr.Bytes())
	}
	return out, err
}

// authorPackages installs the packages of testdata/authors once and returns the
// directory they are in.
var authorPackages = sync.OnceValues(func() (dir string, err error) {
	if dir, err = services.Dir(); err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "authors")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata"))); err != nil {
		return "", err
	}
	out, err := exec.Command("npm", "ci", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm: %w\n%s", err, out)
	}
	return dir, nil
})

// readWithGo answers as the scripts do, with net/mail.
func readWithGo(in []byte) ([]byte, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(in) {
		value, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil {
			return nil, err
		}
		found := []string{}
		if m, err := mail.ReadMessage(strings.NewReader("From:" + string(value) + "\r\n\r\n")); err == nil {
			list, _ := m.Header.AddressList("From")
			for _, a := range list {
				found = append(found, a.Address)
			}
		}
		json.NewEncoder(&out).Encode(map[string][]string{"net/mail": found})
	}
	return out.Bytes(), nil
}

// acceptedAuthors returns values of From that a user of acme.example may send. All
// of authorSeeds are among the candidates; the others are made from the seed.
func acceptedAuthors(t *testing.T) []string {
	rng := rand.New(rand.NewPCG(*authorSeed, 0))
	var corpus []string
	seen := make(map[string]bool)
	candidates, refused := 0, 0
	add := func(value string) {
		candidates++
		switch {
		case seen[value]:
		case !mayBeSent(value):
			refused++
		default:
			seen[value] = true
			corpus = append(corpus, value)
		}
	}
	for _, value := range authorSeeds {
		add(value)
	}
	for len(corpus) < *authorCount && candidates < 1000**authorCount {
		add(makeAuthor(rng))
	}
	t.Logf("-author-seed=%d: %d candidates, %d refused, %d different ones accepted", *authorSeed, candidates, refused, len(corpus))
	if len(corpus) < *authorCount || refused < candidates/10 {
		t.Fatalf("got %d accepted and %d refused fields of %d, want %d accepted and a tenth refused", len(corpus), refused, candidates, *authorCount)
	}
	return corpus
}

// mayBeSent reports whether the relay accepts a From, and a Sender, of this value
// from a user of acme.example.
func mayBeSent(value string) bool {
	h, err := mailheader.Parse([]byte("From:" + value + "\r\nSender:" + value + "\r\n\r\n"))
	if size, _ := mailheader.FieldSize([]byte(value + "\r\n")); err != nil || size < len(value) {
		return false // size is less if the value has more than the field
	}
	return !slices.ContainsFunc(slices.Concat(h.From, h.Sender), func(address string) bool {
		domain, err := credentials.NormalizeDomain(address[strings.LastIndexByte(address, '@')+1:])
		return err != nil || domain != "acme.example"
	})
}
