package console

import (
	"fmt"
	"math"
	"strconv"
)

// A colour holds red, green and blue of sRGB, from 0 to 1.
type colour [3]float64

var (
	white = colour{1, 1, 1}
	black = colour{}

	// The backgrounds of console.css against which the accent colour has the
	// least contrast, in light and in dark pages.
	lightBackground = colour{0xf4 / 255., 0xf4 / 255., 0xf2 / 255.}
	darkBackground  = colour{0x26 / 255., 0x28 / 255., 0x2c / 255.}
)

const defaultAccent = "#3355d4"

// accentStyle returns the rule that sets the accent colour, in a shade for light
// pages and one for dark pages that can both be read.
func accentStyle(accent string) (string, error) {
	if accent == "" {
		accent = defaultAccent
	}
	c, err := parseColour(accent)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(".gatepost,.gatepost-page{--gatepost-default-accent:light-dark(%v,%v)}\n", c.readable(lightBackground, black), c.readable(darkBackground, white)), nil
}

func parseColour(text string) (colour, error) {
	n, err := strconv.ParseUint(text[min(1, len(text)):], 16, 32)
	if err != nil || len(text) != 7 || text[0] != '#' {
		return colour{}, fmt.Errorf("console: Design.Accent: %q does not have the form #rrggbb", text)
	}
	return colour{float64(n>>16) / 255, float64(n>>8&255) / 255, float64(n&255) / 255}, nil
}

// String returns the colour in the notation of CSS.
func (c colour) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0]*255)), int(math.Round(c[1]*255)), int(math.Round(c[2]*255)))
}

// readable returns c, mixed with as little of another colour as gives it enough
// contrast against a background (WCAG 2.2 section 1.4.3).
func (c colour) readable(background, other colour) colour {
	for part := 0.0; ; part += 0.02 {
		var mixed colour
		for i := range mixed {
			mixed[i] = c[i] + (other[i]-c[i])*min(part, 1)
		}
		// WCAG asks for 4.5; the rest is for rounding.
		if mixed.contrast(background) >= 4.55 || part >= 1 {
			return mixed
		}
	}
}

// contrast returns the contrast ratio of two colours (WCAG 2.2), from 1 to 21.
func (c colour) contrast(other colour) float64 {
	a, b := c.luminance(), other.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

// luminance returns the relative luminance of a colour (WCAG 2.2), from 0 to 1.
func (c colour) luminance() float64 {
	linear := func(part float64) float64 {
		if part <= 0.04045 {
			return part / 12.92
		}
		return math.Pow((part+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}
