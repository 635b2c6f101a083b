package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mios/build/ota/adaptive"
	"mios/build/ota/input"
	"mios/format/chunks"
	"mios/internal/progress"
)

var otaAdaptive = command{"ota adaptive", "[flags] BUILD", "cut a build into chunks, for updates from any version\n" +
	"Writes chunks.index and chunks.pack. BUILD is the folder that mios build made, a\n" +
	"target-files zip or folder, or a folder of images. A device that runs any other build\n" +
	"fetches the chunks that it has nowhere; nothing is made for each older version.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		out := fs.String("out", "", "`folder` for the files (default: BUILD/ota; of a zip ota)")
		sizes := fs.String("sizes", "", fmt.Sprintf("least, usual and most `bytes` of a chunk (default: %d,%d,%d)", chunks.Default.Min, chunks.Default.Avg, chunks.Default.Max))
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		name := fs.Arg(0)
		fi, err := os.Stat(name)
		if err != nil {
			return err
		}
		if *out == "" {
			switch *out = filepath.Join(name, "ota"); {
			case fi.IsDir():
			case filepath.Ext(name) == ".zip":
				*out = "ota"
			default:
				return fmt.Errorf("%w: %s is no folder: say where the chunks go with --out", errUsage, name)
			}
		}
		defer emptied(*out)()
		if err := os.MkdirAll(*out, 0o755); err != nil {
			return err
		}
		in, err := input.Open(name, *out)
		if err != nil {
			return err
		}
		defer in.Close()
		r := adaptive.Release{Partitions: in.Partitions}
		if *sizes != "" {
			c := &r.Writer.Cutter
			if n, err := fmt.Sscanf(*sizes, "%d,%d,%d", &c.Min, &c.Avg, &c.Max); n != 3 || err != nil || strings.Count(*sizes, ",") != 2 {
				return fmt.Errorf("%w: --sizes %s: want three numbers, as in 4096,16384,65536", errUsage, *sizes)
			}
		}
		var s *adaptive.Summary
		err = e.story(*asJSON).Step(ctx, "chunks of "+name, func(ctx context.Context, t *progress.Task) (err error) {
			r.Writer.Progress = t.Bytes
			if s, err = r.WriteDir(ctx, *out); err != nil {
				return err
			}
			t.Done("chunks of %s in %s: %d chunks, %s, index %s", name, *out, s.Chunks, progress.Size(s.Root.PackSize), progress.Size(s.IndexSize))
			return nil
		})
		if err != nil || !*asJSON {
			return err
		}
		return printJSON(e, struct {
			Index     string `json:"index"`
			Pack      string `json:"pack"`
			Size      int64  `json:"size"`
			Computed  int64  `json:"computed"`
			Chunks    int    `json:"chunks"`
			PackSize  int64  `json:"pack_size"`
			IndexSize int64  `json:"index_size"`
			RootSize  int64  `json:"root_size"`
		}{filepath.Join(*out, chunks.IndexFile), filepath.Join(*out, chunks.PackFile), s.Size, s.Computed, s.Chunks, s.Root.PackSize, s.IndexSize, s.RootSize})
	}}
