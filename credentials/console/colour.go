package console

import (
	"fmt"
	"math"
	"strconv"
)

// A colour is one of sRGB, its parts from 0 to 1.
type colour [3]float64

var (
	white = colour{1, 1, 1}
	black = colour{}

	// The least contrasting grounds that the accent lies on, in the light and
	// in the dark; see console.css.
	lightGround = colour{0xf4 / 255., 0xf4 / 255., 0xf2 / 255.}
	darkGround  = colour{0x26 / 255., 0x28 / 255., 0x2c / 255.}
)

const defaultAccent = "#3355d4"

// accentStyle returns the rules that set the accent colour, in a shade that can
// be read in the light and in one for the dark.
func accentStyle(accent string) (string, error) {
	if accent == "" {
		accent = defaultAccent
	}
	c, err := parseColour(accent)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(".gatepost,.gatepost-page{--gatepost-default-accent:light-dark(%v,%v)}\n", c.readable(lightGround, black), c.readable(darkGround, white)), nil
}

func parseColour(text string) (colour, error) {
	n, err := strconv.ParseUint(text[min(1, len(text)):], 16, 32)
	if err != nil || len(text) != 7 || text[0] != '#' {
		return colour{}, fmt.Errorf("console: Handler.Accent is %q and not like #3355d4", text)
	}
	return colour{float64(n>>16) / 255, float64(n>>8&255) / 255, float64(n&255) / 255}, nil
}

// String returns the colour as CSS takes it.
func (c colour) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0]*255)), int(math.Round(c[1]*255)), int(math.Round(c[2]*255)))
}

// readable returns c, with as much of the other colour in it as it takes to be
// read on the ground (WCAG 2.2, 1.4.3).
func (c colour) readable(ground, towards colour) colour {
	for part := 0.0; ; part += 0.02 {
		var mixed colour
		for i := range mixed {
			mixed[i] = c[i] + (towards[i]-c[i])*min(part, 1)
		}
		// A little more than 4.5, because colours are rounded.
		if mixed.contrast(ground) >= 4.55 || part >= 1 {
			return mixed
		}
	}
}

// contrast returns the contrast ratio of WCAG 2.2: from 1 to 21.
func (c colour) contrast(other colour) float64 {
	a, b := c.luminance(), other.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

// luminance is the relative luminance of WCAG 2.2.
func (c colour) luminance() float64 {
	linear := func(part float64) float64 {
		if part <= 0.04045 {
			return part / 12.92
		}
		return math.Pow((part+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}
