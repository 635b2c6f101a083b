package lookalike_test

import (
	"strings"
	"testing"

	"mios/publish/app/lookalike"
)

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		like bool
	}{
		{"org.examp1e.clock", "org.example.clock", true},
		{"org.example.c1ock", "org.example.clock", true},
		{"org.exarnple.clock", "org.example.clock", true},
		{"org.example.clcok", "org.example.clock", true},
		{"org.example.clocks", "org.example.clock", true},
		{"org.example.clock", "org.example.clock", false}, // the same
		{"org.example.clock", "org.example.calendar", false},
		{"de.bank.app", "de.wank.app", true},
		{"Whatsapp", "WhatsАpp", true}, // a Cyrillic А
		{"Ｓｉｇｎａｌ", "Signal", true},     // fullwidth
		{"Sig\u200bnal", "Signal", true},
		{"Mail", "Maps", false},
		{"Uhr", "Ohr", false}, // short names are often alike
		{"", "", false},
		{"a", "", false},
		{strings.Repeat("a", 300), strings.Repeat("a", 299), false}, // nobody compares that
	} {
		if got := lookalike.Like(tt.a, tt.b); (got != "") != tt.like {
			t.Errorf("Like(%q, %q) = %q, want alike: %v", tt.a, tt.b, got, tt.like)
		}
		if got := lookalike.Like(tt.b, tt.a); (got != "") != tt.like {
			t.Errorf("Like(%q, %q) = %q, want alike: %v", tt.b, tt.a, got, tt.like)
		}
	}
}
