package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
)

//go:embed templates assets lang settings openapi
var files embed.FS

// read returns an embedded file, which must exist.
func read(name string) []byte {
	content, err := files.ReadFile(name)
	if err != nil {
		panic("console: " + err.Error())
	}
	return content
}

// An asset is a file that is the same for all visitors.
type asset struct {
	mediaType string
	version   string // changes with the content
	content   []byte
}

// The files of the style sheet and of the script, in their order.
var (
	styles  = []string{"console.css", "dns.css", "quota.css", "live.css", "hooks.css", "operator.css", "activity.css"}
	scripts = []string{"console.js", "live.js"}
)

// loadAssets returns the assets by their paths. The style sheet begins with style.
func loadAssets(style string) map[string]asset {
	return map[string]asset{
		"/assets/console.css": newAsset("text/css; charset=utf-8", append([]byte(style), readAll(styles)...)),
		"/assets/console.js":  newAsset("text/javascript; charset=utf-8", readAll(scripts)),
	}
}

// readAll returns the content of some assets, one after another.
func readAll(names []string) []byte {
	var all []byte
	for _, name := range names {
		all = append(all, read("assets/"+name)...)
	}
	return all
}

func newAsset(mediaType string, content []byte) asset {
	sum := sha256.Sum256(content)
	return asset{mediaType, hex.EncodeToString(sum[:6]), content}
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Type", a.mediaType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	header.Set("ETag", `"`+a.version+`"`)
	if r.Header.Get("If-None-Match") == header.Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		w.Write(a.content)
	}
}
