// Package consoletest tests the console (package relay/console) in a headless
// Chromium, with a relay that is running, and the console inside the product of
// examples/saas, with all its pages. It has nothing to import.
//
// It needs these Debian packages; a test that misses one is skipped, or fails if
// the environment has REQUIRE_SERVICES=1:
//
//	apt-get install chromium fonts-noto-core fonts-noto-mono fonts-noto-color-emoji nodejs npm
//
// The driver (chromedp) is a Go module. The npm packages in package-lock.json are
// installed into a temporary directory: axe-core checks accessibility, Bootstrap,
// Tailwind, Pico and Bulma are style sheets of pages around the console, and
// openapi-typescript generates a client from openapi.json.
//
// The tests write a picture of each screen to the folder screens, beside this file:
// in light, in dark, on a phone, inside each of those pages and on paper. Look at
// them after a change of the style. This writes the two pictures of the README:
//
//	go test ./internal/integration/consoletest -run TestPictures -readme=../../../docs
package consoletest
