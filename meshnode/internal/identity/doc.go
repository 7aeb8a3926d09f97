// Package identity gives mesh nodes their names: ML-DSA-65 key pairs (FIPS
// 204), certificates signed by the mesh's root, and the authority that issues
// them to pods that prove themselves with a service-account token.
//
// # Map
//
//	key, certificate      what a name is proven with
//	authority, ca, kube   the root, its service, and what it asks the API server
//	enrol, request, clock, node, former
//	                      a node's side: getting and renewing a certificate, the mesh's time, and
//	                      roots that the mesh has had before
package identity
