package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// loadedModules are what the tests need of a kernel that has them as modules. One
// that is not there is taken for built in. crc32c_generic comes first because
// libcrc32c asks for it by a name that only modprobe understands.
var loadedModules = []string{
	"crc32c_generic", "veth", "nf_tables", "nft_ct", "nft_queue", "nft_dup_ipv4", "nft_dup_ipv6", "nfnetlink_queue",
	"iptable_filter", "sch_tbf", "sch_ingress", "cls_bpf",
}

// netemModule is loaded by the test that needs it, after those that need its absence.
const netemModule = "sch_netem"

// modulePaths returns the files of modules and of what they depend on, dependencies
// first, each once.
func modulePaths(ctx context.Context, root string, names []string) ([]string, error) {
	files := map[string]string{} // by name
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, suffix, ok := strings.Cut(d.Name(), ".ko")
		if err == nil && ok && (suffix == "" || suffix == ".xz") && d.Type().IsRegular() {
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var paths []string
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		path, ok := files[moduleName(name)]
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		if plain, ok := strings.CutSuffix(path, ".xz"); ok { // Debian 13 and later
			if err := command(ctx, nil, "xz", "--decompress", path); err != nil {
				return err
			}
			path = plain
		}
		depends, err := dependencies(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, d := range depends {
			if err := visit(d); err != nil {
				return err
			}
		}
		paths = append(paths, path)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// moduleName makes the two ways of writing a module's name one.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// dependencies reads which modules a module names as its needs.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if names, ok := strings.CutPrefix(field, "depends="); ok && names != "" {
			return slices.Collect(strings.SplitSeq(moduleName(names), ",")), nil
		}
	}
	return nil, nil
}
