// Package doctor examines a cluster before anything is deployed in it: what would keep a run of the suite from
// proving anything, each with what mends it.
//
// It changes nothing: it reads, makes dry runs, and runs commands that only look in the pods of Chaos Mesh's daemon.
//
// # Map
//
//	doctor                what a finding is; all checks, and waiting for what may pass
//	rights                what the user may do
//	chaos                 Chaos Mesh, and the aggregated APIs
//	prometheus, scrape    the server and its alerts; which of its jobs would scrape the mesh's pods, and how
//	security              what policies say of the mesh's namespaces and pods
//	storage               what makes the volumes of the mesh's nodes
//	machines, images      each machine that pods may come to
//	workload              the pods that are to come
package doctor
