// Package image gets every container image that the suite needs, by pulling what is
// published where the engine can pull, and otherwise by building it from source.
//
// # Map
//
//	store, pull           which images are there, and how they are had
//	recipe, node          what is built, and of what
//	compile, compose, assemble, clock
//	                      binaries, layers, the node's image, the fake clocks
//	seeded                the mesh's images with a defect
//	bring                 images into the machines of a cluster that is there
//	publish               the project's own images in a registry
//	superseded            which archives of earlier builds go
//	promtool              a tool of the same build
package image
