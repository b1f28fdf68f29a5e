// mkimage writes an OCI image of one layer as a tar of an OCI layout, without a container engine.
//
//	mkimage -o OUT.tar -name REF [-arch ARCHITECTURE,...] [-user UID] [-entry PROGRAM,ARGUMENT...] SRC=DST...
//
// With several architectures the tar holds an index with an image for each; {arch} in SRC is replaced by the
// architecture. The same files give the same bytes. `ctr images import` and `docker load` take the result.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

func main() {
	out := flag.String("o", "", "the tar to write")
	name := flag.String("name", "", "the image's name, such as xdp-agent:0.1.0")
	arch := flag.String("arch", runtime.GOARCH, "the architectures, separated by commas")
	user := flag.String("user", "", "the user it runs as, such as 65532")
	entry := flag.String("entry", "", "program and arguments it runs, separated by commas")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(),
			"usage: mkimage -o OUT.tar -name REF [-arch ARCHITECTURE,...] [-user UID] [-entry PROGRAM,ARGUMENT...] SRC=DST...")
		flag.PrintDefaults()
	}
	flag.Parse()
	var images []*Image
	for _, architecture := range strings.Split(*arch, ",") {
		image := &Image{Architecture: architecture, User: *user}
		if *entry != "" {
			image.Entrypoint = strings.Split(*entry, ",")
		}
		images = append(images, image)
	}
	if err := run(images, *name, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(images []*Image, name, out string, files []string) error {
	if out == "" || name == "" {
		return fmt.Errorf("-o and -name are needed")
	}
	for _, file := range files {
		source, target, ok := strings.Cut(file, "=")
		if !ok || !strings.HasPrefix(target, "/") {
			return fmt.Errorf("%q is not SRC=DST with an absolute DST", file)
		}
		for _, image := range images {
			if err := image.Add(strings.ReplaceAll(source, "{arch}", image.Architecture), target); err != nil {
				return err
			}
		}
	}
	bytes, err := Layout(name, images)
	if err != nil {
		return err
	}
	// Renames the finished file, so that an incomplete image is never imported.
	if err := os.WriteFile(out+".new", bytes, 0o644); err != nil {
		return err
	}
	return os.Rename(out+".new", out)
}
