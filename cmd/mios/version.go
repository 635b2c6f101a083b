package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"mios"
	"mios/internal/digest"
)

var versionCmd = command{"version", "[--json]", "say which program this is\n" +
	"The SHA-256 is that of the program's file: make build gives the same one from the same sources. The commit is\n" +
	"told where go build wrote it into the program.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		v := struct {
			Go       string      `json:"go"`
			OS       string      `json:"os"`
			Arch     string      `json:"arch"`
			SHA256   mios.Digest `json:"sha256"`
			Commit   string      `json:"commit,omitempty"`
			Modified bool        `json:"modified,omitempty"`
		}{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				switch s.Key {
				case "vcs.revision":
					v.Commit = s.Value
				case "vcs.modified":
					v.Modified = s.Value == "true"
				}
			}
		}
		name, err := os.Executable()
		if err != nil {
			return err
		}
		if v.SHA256, err = digest.File(name); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(e, v)
		}
		fmt.Fprintf(e.stdout, "mios for %s/%s, made with %s\nSHA-256 %s\n", v.OS, v.Arch, v.Go, v.SHA256)
		switch {
		case v.Commit != "" && v.Modified:
			fmt.Fprintf(e.stdout, "commit %s, and changes\n", v.Commit)
		case v.Commit != "":
			fmt.Fprintf(e.stdout, "commit %s\n", v.Commit)
		}
		return nil
	}}
