package product

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// A Size is a number of bytes, written as "40MiB".
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}}

// UnmarshalYAML implements yaml's NodeUnmarshaler, so that an error has its
// place.
func (s *Size) UnmarshalYAML(n ast.Node) error {
	text := scalar(n)
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || v < 0 || v > (1<<62)/u.bytes {
			break
		}
		*s = Size(v * u.bytes)
		return nil
	}
	return wrong(n, fmt.Sprintf("size %q, want a number with KiB, MiB, GiB or B, as in 64MiB", text))
}

func (s Size) String() string {
	for i := len(units) - 2; i >= 0; i-- {
		if u := units[i]; int64(s) >= u.bytes && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + " " + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10) + " B"
}

// A Duration is a span of time, written as Go writes it: "90s", "6h".
type Duration time.Duration

// UnmarshalYAML implements yaml's NodeUnmarshaler.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	v, err := time.ParseDuration(scalar(n))
	if err != nil || v < 0 {
		return wrong(n, fmt.Sprintf("duration %q, want a number with s, m or h, as in 90s or 6h", scalar(n)))
	}
	*d = Duration(v)
	return nil
}

func (d Duration) seconds() int64 { return int64(time.Duration(d) / time.Second) }

func scalar(n ast.Node) string {
	if t := n.GetToken(); t != nil {
		return t.Value
	}
	return n.String()
}

func wrong(n ast.Node, msg string) error {
	return &yaml.SyntaxError{Message: msg, Token: n.GetToken()}
}
