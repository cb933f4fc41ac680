// Reads docker-compose.yaml as Docker Compose does: its own loader checks the schema, the references between services and the variables.
// No engine is needed.
//
//	cd tools/check-compose && go run . ../../docker-compose.yaml            names each service
//	cd tools/check-compose && go run . ../../docker-compose.yaml spansieve  prints the content of that config
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: check-compose FILE [CONFIG]")
	}
	options, err := cli.NewProjectOptions([]string{os.Args[1]})
	if err != nil {
		log.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 2 {
		config, found := project.Configs[os.Args[2]]
		if !found {
			log.Fatalf("there is no config %s", os.Args[2])
		}
		fmt.Print(config.Content)
		return
	}
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		if err := check(service); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		fmt.Printf("%s: %s\n", name, service.Image)
	}
}

// check is what the schema does not know: the folder of a build has a Dockerfile, and ports are open on this machine alone.
func check(service types.ServiceConfig) error {
	if service.Build != nil {
		if _, err := os.Stat(filepath.Join(service.Build.Context, "Dockerfile")); err != nil {
			return err
		}
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			return fmt.Errorf("port %s is open to the network", port.Published)
		}
	}
	return nil
}
