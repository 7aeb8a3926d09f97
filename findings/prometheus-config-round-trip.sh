#!/usr/bin/env bash
# Prometheus tells its configuration, at /api/v1/status/config and on its page, as it writes it anew from what it
# has loaded. A relabelling rule's `replacement` and `separator` are left out there when they are empty,
# and what is left out means "$1" and ";" to whoever reads it: a rule that takes a label away gives it
# a value instead. Both are loaded as they stand in the file, so the server itself does what it was told.
#
# Exit 0: still so. Exit 1: it has changed. Needs the go command and a module proxy.
set -euo pipefail
version=v0.310.0 # of the module: Prometheus 3.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init finding >/dev/null 2>&1
cat >main.go <<'GO'
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

const file = `
scrape_configs:
  - job_name: pods
    relabel_configs:
      - {source_labels: [team], target_label: team, replacement: ""}
      - {source_labels: [a, b], target_label: both, separator: ""}
`

func main() {
	logger := slog.New(slog.DiscardHandler)
	loaded, err := config.Load(file, logger)
	check(err)
	told := loaded.String()
	again, err := config.Load(told, logger)
	check(err)
	first, second := labelled(loaded), labelled(again)
	fmt.Printf("as loaded:            %s\nas told, loaded again: %s\n", first, second)
	if first == second {
		fmt.Println("the same: this has changed")
		os.Exit(1)
	}
}

func labelled(c *config.Config) string {
	b := labels.NewBuilder(labels.FromStrings("team", "red", "a", "1", "b", "2"))
	relabel.ProcessBuilder(b, c.ScrapeConfigs[0].RelabelConfigs...)
	return b.Labels().String()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
GO
go get "github.com/prometheus/prometheus@$version" >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run .
echo "Prometheus module $version: an empty replacement or separator is not told"
