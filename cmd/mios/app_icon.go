package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"mios"
	"mios/build/app/icon"
	"mios/format/apk"
	"mios/internal/atomicfile"
)

var appIcon = command{"app icon", "[flags] FILE", "draw an Android package's icon\n" +
	"A bitmap is written as it is, unless a size is asked for. Everything else\n" +
	"becomes a PNG; what of it cannot be drawn without Android is said.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		size := fs.Int("size", 0, "width and height in `pixels` (default: 48dp, or a bitmap as it is)")
		density := fs.Int("density", 0, "of the screen that it is for, in `dpi` (default: 640)")
		locale := fs.String("locale", "", "`language` of the person that it is for, as BCP 47 has it: de, pt-BR")
		shape := fs.String("shape", string(icon.ShapeRounded), "`shape` of adaptive icons: "+shapeNames())
		night := fs.Bool("night", false, "as in dark mode")
		out := fs.String("out", "", "`file` to write, - for standard output (default: FILE's name here, with .png or what it is)")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		if *asJSON && *out == "-" {
			return fmt.Errorf("%w: --json and --out - both want standard output", errUsage)
		}
		file := fs.Arg(0)
		o := icon.Options{
			Locale: *locale, Density: *density, Size: *size, Night: *night, Shape: icon.Shape(*shape),
			PNG: strings.EqualFold(filepath.Ext(*out), ".png"),
		}
		if err := o.Check(); err != nil {
			return fmt.Errorf("%w: %s", errUsage, strings.TrimSuffix(err.Error(), ": "+mios.ErrInvalid.Error()))
		}
		p, err := drawIcon(ctx, file, o)
		if err != nil {
			return err
		}
		return writeIcon(e, p, file, *out, *asJSON)
	}}

func shapeNames() string {
	var names []string
	for _, s := range icon.Shapes {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func drawIcon(ctx context.Context, file string, o icon.Options) (*icon.Icon, error) {
	r, size, err := openPackage(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := apk.Open(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p, err := icon.Draw(ctx, f, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// iconSuffixes are the endings of file names by MIME type.
var iconSuffixes = map[string]string{"image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}

// writeIcon writes the icon of file, and says what it is.
func writeIcon(e env, p *icon.Icon, file, out string, asJSON bool) error {
	if out == "-" {
		if _, err := e.stdout.Write(p.Data); err != nil {
			return err
		}
		return tellMissing(e, p)
	}
	if out == "" {
		suffix := iconSuffixes[p.MIME]
		if suffix == "" {
			suffix = ".png"
		}
		out = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) + suffix
	}
	if err := atomicfile.WriteBytes(out, p.Data, 0o644); err != nil {
		return err
	}
	if asJSON {
		return printJSON(e, struct {
			File    string   `json:"file"`
			MIME    string   `json:"mime"`
			Width   int      `json:"width"`
			Height  int      `json:"height"`
			Source  string   `json:"source,omitempty"`
			Exact   bool     `json:"exact"`
			Missing []string `json:"missing"`
		}{out, p.MIME, p.Width, p.Height, p.Source, p.Exact, append([]string{}, p.Missing...)})
	}
	how := "drawn from"
	if p.Exact {
		how = "as it is in"
	}
	fmt.Fprintf(e.stdout, "%s: %d x %d pixels, %s %s\n", out, p.Width, p.Height, how, p.Source)
	return tellMissing(e, p)
}

// tellMissing says what a picture lacks.
func tellMissing(e env, p *icon.Icon) error {
	for _, m := range p.Missing {
		if _, err := fmt.Fprintf(e.stderr, "not drawn: %s\n", m); err != nil {
			return err
		}
	}
	return nil
}
