package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"mios"
	"mios/publish/app/report"
)

// verifyMemory is what verifying may take before it cleans up more often, in
// bytes: with the program itself it stays below 32 MiB, for all but packages
// whose directory alone takes more.
const verifyMemory = 16 << 20

var appVerify = command{"app verify", "[flags] FILE", "verify a package's signatures as Android does\n" +
	"Errors and warnings bear the names that AOSP's apksigner gives them. Status 0: verified,\n" +
	"1: not. The fields of the JSON are in docs/apks.md.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		least := fs.Int("min-sdk", 0, "oldest platform that must take it, an SDK `version` (default: the package's)")
		most := fs.Int("max-sdk", 0, "newest platform that must take it, an SDK `version` (default: no end)")
		v4 := fs.String("v4", "", "the .idsig `file` beside the package, for scheme v4")
		strict := fs.Bool("Werror", false, "warnings are errors")
		all := fs.Bool("all", false, "list all errors and warnings, however many of one kind")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		if *least < 0 || *most < 0 || *most > 0 && *most < *least {
			return fmt.Errorf("%w: SDK versions %d to %d: want two positive numbers, the lower one first", errUsage, *least, *most)
		}
		debug.SetMemoryLimit(verifyMemory)
		path := fs.Arg(0)
		f, size, err := openPackage(path)
		if err != nil {
			return err
		}
		defer f.Close()
		o := report.VerifyOptions{MinSDK: *least, MaxSDK: *most}
		if *v4 != "" {
			idsig, err := os.Open(*v4)
			if err != nil {
				return err
			}
			defer idsig.Close()
			o.IDSig = idsig
		}
		s, err := report.Verify(ctx, f, size, o)
		if err != nil {
			s, err = report.Malformed(err, o), fmt.Errorf("%s: %w", path, err)
			if s == nil || !*asJSON {
				return err
			}
			return errors.Join(printVerified(e, path, s), err)
		}
		if *strict && len(s.Warnings) > 0 {
			s.Verified = false
		}
		if *asJSON {
			err = printVerified(e, path, s)
		} else {
			printSignature(newPage(e.stdout), path, s, *all)
		}
		if err != nil || s.Verified {
			return err
		}
		return notVerified(path, s)
	}}

// printVerified prints all that verification found, as JSON.
func printVerified(e env, path string, s *report.Signature) error {
	return printJSON(e, struct {
		File string `json:"file"`
		*report.Signature
	}{path, s})
}

// notVerified is why a package does not verify. It wraps [mios.ErrDenied].
func notVerified(path string, s *report.Signature) error {
	list := append(slices.Clone(s.Errors), s.Warnings...)
	what := list[0].Name
	if n := len(list) - 1; n > 0 {
		what += fmt.Sprintf(" and %d more", n)
	}
	return &verdict{fmt.Sprintf("%s: not verified: %s", printable(path), what)}
}

// A verdict is that a package does not verify. It wraps [mios.ErrDenied].
type verdict struct{ msg string }

func (v *verdict) Error() string { return v.msg }

func (v *verdict) Unwrap() error { return mios.ErrDenied }

// printSignature prints all that verification found, of issues of one kind the
// first few unless all of them are wanted.
func printSignature(p *page, path string, s *report.Signature, all bool) {
	if s.Verified {
		p.line("%s: verified%s, by scheme %s", path, platforms(s), strings.Join(s.Schemes, ", "))
	} else {
		p.line("%s: NOT VERIFIED%s", path, platforms(s))
	}
	for i := range s.Signers {
		printSigner(p, &s.Signers[i])
	}
	if s.Stamp != nil {
		printStamp(p, s.Stamp, all)
	}
	if len(s.Errors)+len(s.Warnings) > 0 {
		p.line("")
	}
	printIssues(p, "error", s.Errors, all)
	printIssues(p, "warning", s.Warnings, all)
}

// printSigner prints who signed, how, and for which platforms.
func printSigner(p *page, who *report.Signer) {
	p.line("")
	name := "signer"
	if !who.Current {
		name = "also"
	}
	p.fact(name, "%s", cmp.Or(who.Subject, "certificate without a name"))
	p.fact("schemes", "%s", strings.Join(who.Schemes, ", "))
	if len(who.Files) > 0 {
		p.fact("v1 file", "%s", strings.Join(who.Files, ", "))
	}
	switch {
	case who.MaxSDK > 0:
		p.fact("platforms", "%s to %s", report.Android(who.MinSDK), report.Android(who.MaxSDK))
	case who.MinSDK > 1:
		p.fact("platforms", "%s and newer", report.Android(who.MinSDK))
	}
	p.fact("SHA-256", "%s", who.Digest)
	if who.Serial != "" {
		p.fact("serial", "%s, valid from %.10s to %.10s", who.Serial, who.NotBefore, who.NotAfter)
	}
	if who.Key != "" {
		p.fact("key", "%s, SHA-256 %s", who.Key, who.KeyDigest)
	}
	printLineage(p, who.Lineage)
}

func printStamp(p *page, s *report.Stamp, all bool) {
	p.line("")
	p.fact("stamp", "%s", s.Status)
	if s.Signer != nil {
		p.fact("", "%s", cmp.Or(s.Signer.Subject, "certificate without a name"))
		p.fact("", "%s", s.Signer.Digest)
	}
	if s.Time != "" {
		p.fact("", "made %s", s.Time)
	}
	printIssues(p, "problem", s.Issues, all)
	printIssues(p, "note", s.Notes, all)
}

// platforms says which ones were asked about.
func platforms(s *report.Signature) string {
	switch {
	case s.MinSDK > 0 && s.MaxSDK > 0:
		return fmt.Sprintf(" for %s to %s", report.Android(s.MinSDK), report.Android(s.MaxSDK))
	case s.MinSDK > 0:
		return fmt.Sprintf(" for %s and newer", report.Android(s.MinSDK))
	case s.MaxSDK > 0:
		return fmt.Sprintf(" up to %s", report.Android(s.MaxSDK))
	}
	return ""
}

// printLineage prints the certificates of a lineage, the oldest first.
func printLineage(p *page, list []report.Ancestor) {
	for i, c := range list {
		name := "lineage"
		if i > 0 {
			name = ""
		}
		p.fact(name, "%d. %s", i+1, cmp.Or(c.Subject, "certificate without a name"))
		p.fact("", "%s", c.Digest)
		p.fact("", "may: %s", cmp.Or(strings.Join(c.Capabilities, ", "), "nothing"))
	}
}
