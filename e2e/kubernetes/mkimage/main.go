// mkimage writes an OCI image of one layer as a tar of an OCI layout, without a container engine.
//
//	mkimage -o OUT.tar -name REF [-user UID] [-entry PROGRAM,ARGUMENT...] SRC=DST...
//
// The same files give the same bytes. `ctr images import` and `docker load` take the result.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	var image Image
	out := flag.String("o", "", "the tar to write")
	flag.StringVar(&image.Name, "name", "", "the image's name, such as xdp-agent:0.1.0")
	flag.StringVar(&image.User, "user", "", "the user it runs as, such as 65532")
	entry := flag.String("entry", "", "program and arguments it runs, separated by commas")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mkimage -o OUT.tar -name REF [-user UID] [-entry PROGRAM,ARGUMENT...] SRC=DST...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *entry != "" {
		image.Entrypoint = strings.Split(*entry, ",")
	}
	if err := run(image, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(image Image, out string, files []string) error {
	if out == "" || image.Name == "" {
		return fmt.Errorf("-o and -name are needed")
	}
	for _, file := range files {
		source, target, ok := strings.Cut(file, "=")
		if !ok || !strings.HasPrefix(target, "/") {
			return fmt.Errorf("%q is not SRC=DST with an absolute DST", file)
		}
		if err := image.Add(source, target); err != nil {
			return err
		}
	}
	bytes, err := image.Layout()
	if err != nil {
		return err
	}
	// Renames the finished file, so that an incomplete image is never imported.
	if err := os.WriteFile(out+".new", bytes, 0o644); err != nil {
		return err
	}
	return os.Rename(out+".new", out)
}
