package initrc

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mios/internal/conformance"
)

type script struct{ Test, Script string }

type cases struct {
	Tokenizer []struct {
		Test, Input string
		Lines       [][]string
	}
	ParserTokenizer []struct {
		Test, Input string
		Tokens      [][]string
	} `json:"parser_tokenizer"`
	RlimitOK []struct {
		Args     []string
		Resource int
		Cur, Max string
	} `json:"rlimit_ok"`
	RlimitFail []struct {
		Args  []string
		Error string
	} `json:"rlimit_fail"`
	InitScripts    []script `json:"init_scripts"`
	UeventdScripts []script `json:"ueventd_scripts"`
}

func loadCases(tb testing.TB) cases {
	b, err := os.ReadFile(filepath.Join(conformance.Dir(tb, "init"), "init_cases.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var c cases
	if err := json.Unmarshal(b, &c); err != nil {
		tb.Fatal(err)
	}
	return c
}

// allLines returns the lines up to the first error.
func allLines(src string) [][]string {
	var got [][]string
	x := lexer{src: []byte(src)}
	for {
		l, ok, _ := x.next()
		if !ok {
			return got
		}
		got = append(got, l.args)
	}
}

func TestConformanceTokenizer(t *testing.T) {
	tally := conformance.New(t, "init tokenizer")
	for _, c := range loadCases(t).Tokenizer {
		got := allLines(c.Input)
		ok := slices.EqualFunc(got, c.Lines, func(a, b []string) bool { return slices.Equal(a, b) })
		if tally.Case(ok); !ok {
			t.Errorf("%s: lines of %q = %q, want %q", c.Test, c.Input, got, c.Lines)
		}
	}
}

func TestConformanceScanner(t *testing.T) {
	tally := conformance.New(t, "init parser tokenizer")
	for _, c := range loadCases(t).ParserTokenizer {
		var got [][]string
		for s := NewScanner([]byte(c.Input)); ; {
			kind, text := s.Next()
			switch kind {
			case End:
				got = append(got, []string{"END"})
			case Newline:
				got = append(got, []string{"NEWLINE"})
			case Text:
				got = append(got, []string{"TEXT", text})
			}
			if kind == End {
				break
			}
		}
		ok := slices.EqualFunc(got, c.Tokens, func(a, b []string) bool { return slices.Equal(a, b) })
		if tally.Case(ok); !ok {
			t.Errorf("%s: tokens of %q = %q, want %q", c.Test, c.Input, got, c.Tokens)
		}
	}
}

func TestConformanceRlimit(t *testing.T) {
	tally := conformance.New(t, "init rlimits")
	all := loadCases(t)
	for _, c := range all.RlimitOK {
		number := func(s string) uint64 {
			if s == "RLIM_INFINITY" {
				return Infinity
			}
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		want := Rlimit{c.Resource, number(c.Cur), number(c.Max)}
		got, err := ParseRlimit(c.Args[0], c.Args[1], c.Args[2])
		ok := err == nil && got == want
		if tally.Case(ok); !ok {
			t.Errorf("ParseRlimit(%q) = %v, %v, want %v", c.Args, got, err, want)
		}
	}
	for _, c := range all.RlimitFail {
		_, err := ParseRlimit(c.Args[0], c.Args[1], c.Args[2])
		ok := err != nil && strings.EqualFold(err.Error(), c.Error)
		if tally.Case(ok); !ok {
			t.Errorf("ParseRlimit(%q) = %v, want %s", c.Args, err, c.Error)
		}
	}
}

// TestConformanceScripts holds that AOSP's test scripts are read, or refused
// with lines; which of init's own are refused is known.
func TestConformanceScripts(t *testing.T) {
	tally := conformance.New(t, "init scripts")
	refused := []string{"WrongEventTrigger", "RejectsNoUserStartingInV", "RejectsCriticalAndOneshotService"}
	all := loadCases(t)
	for _, c := range all.InitScripts {
		_, err := Parse(c.Test, []byte(c.Script))
		ok := (err != nil) == slices.Contains(refused, c.Test) && located(err)
		if tally.Case(ok); !ok {
			t.Errorf("Parse(%s) = %v", c.Test, err)
		}
	}
	for _, c := range all.UeventdScripts {
		_, err := Parse(c.Test, []byte(c.Script))
		ok := err != nil && located(err)
		if tally.Case(ok); !ok {
			t.Errorf("Parse(%s) = %v, want an error with a line for each statement", c.Test, err)
		}
	}
}

// located tells whether err, if there is one, is made of FormatErrors.
func located(err error) bool {
	if err == nil {
		return true
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	for _, e := range joined.Unwrap() {
		var f *FormatError
		if !errors.As(e, &f) || f.Line < 1 {
			return false
		}
	}
	return true
}
