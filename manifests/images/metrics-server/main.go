// Command metrics-server is the main package of metrics-server v0.7.2 for
// Kubernetes 1.34: the module's own uses a field that the API server library has
// renamed, and its next version needs a later library than the cluster's. Only the flags
// that the manifest sets exist.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/rest"

	"sigs.k8s.io/metrics-server/pkg/api"
	"sigs.k8s.io/metrics-server/pkg/api/generated/openapi"
	"sigs.k8s.io/metrics-server/pkg/scraper/client"
	"sigs.k8s.io/metrics-server/pkg/server"
	"sigs.k8s.io/metrics-server/pkg/utils"
)

const kubeletPort = 10250

func main() {
	if err := run(genericapiserver.SetupSignalContext()); err != nil {
		fmt.Fprintln(os.Stderr, "metrics-server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	serving := options.NewSecureServingOptions().WithLoopback()
	resolution := pflag.Duration("metric-resolution", 15*time.Second, "time between two scrapes")
	timeout := pflag.Duration("kubelet-request-timeout", 10*time.Second, "time that one kubelet has to answer, less than --metric-resolution")
	insecure := pflag.Bool("kubelet-insecure-tls", false, "accept kubelets' self-signed certificates")
	addresses := pflag.StringSlice("kubelet-preferred-address-types", nil, "which of a node's addresses to reach its kubelet at, the best first")
	serving.AddFlags(pflag.CommandLine)
	pflag.Parse()
	if *timeout >= *resolution {
		return fmt.Errorf("--kubelet-request-timeout %s must be less than --metric-resolution %s", *timeout, *resolution)
	}

	apiserver, err := apiserverConfig(serving)
	if err != nil {
		return err
	}
	cluster, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	kubelets := rest.CopyConfig(cluster)
	if *insecure {
		kubelets.TLSClientConfig = rest.TLSClientConfig{Insecure: true}
	}
	s, err := server.Config{
		Apiserver: apiserver,
		Rest:      cluster,
		Kubelet: &client.KubeletClientConfig{
			Client: *kubelets, Scheme: "https", DefaultPort: kubeletPort,
			AddressTypePriority: preferred(*addresses),
		},
		MetricResolution: *resolution,
		ScrapeTimeout:    *timeout,
	}.Complete()
	if err != nil {
		return err
	}
	return s.RunUntil(ctx.Done())
}

// preferred are types of addresses by their names; the usual ones if there are none.
func preferred(names []string) []corev1.NodeAddressType {
	if len(names) == 0 {
		return utils.DefaultAddressTypePriority
	}
	types := make([]corev1.NodeAddressType, len(names))
	for i, n := range names {
		types[i] = corev1.NodeAddressType(n)
	}
	return types
}

// apiserverConfig asks the cluster's API server who may read: delegated authentication and authorization.
func apiserverConfig(serving *options.SecureServingOptionsWithLoopback) (*genericapiserver.Config, error) {
	if err := serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	config := genericapiserver.NewConfig(api.Codecs)
	if err := serving.ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return nil, err
	}
	if err := options.NewDelegatingAuthenticationOptions().ApplyTo(&config.Authentication, config.SecureServing, nil); err != nil {
		return nil, err
	}
	if err := options.NewDelegatingAuthorizationOptions().ApplyTo(&config.Authorization); err != nil {
		return nil, err
	}
	names := openapinamer.NewDefinitionNamer(api.Scheme)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(openapi.GetOpenAPIDefinitions, names)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, names)
	config.OpenAPIConfig.Info.Title = "metrics-server"
	config.OpenAPIV3Config.Info.Title = "metrics-server"
	return config, nil
}
