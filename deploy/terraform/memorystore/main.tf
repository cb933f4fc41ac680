# A Memorystore for Valkey through which the instances of Spansieve decide as one: docs/fleet.md. TLS, sign-in by IAM, and one node
# without a replica: it holds nothing that must survive. deploy/terraform takes the outputs as its variable `memorystore`.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0"
    }
  }
}

variable "project" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "The region of the instances of Spansieve."
  type        = string
}

variable "network" {
  description = "The network from which it is reached: projects/PROJECT/global/networks/NAME."
  type        = string
}

variable "subnetwork" {
  description = "The subnetwork that has its address: projects/PROJECT/regions/REGION/subnetworks/NAME."
  type        = string
}

variable "name" {
  description = "The name of the Memorystore."
  type        = string
  default     = "spansieve"
}

variable "node_type" {
  description = "The size of its node. The smallest one is enough for tens of thousands of spans a second, but has no SLA."
  type        = string
  default     = "SHARED_CORE_NANO"
}

# The APIs stay enabled when this is destroyed: other things in the project may use them.
resource "google_project_service" "api" {
  for_each           = toset(["memorystore", "networkconnectivity", "serviceconsumermanagement"])
  project            = var.project
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}

# Memorystore may make its address in the subnetwork. A network has one such policy in a region: import yours if there is one.
resource "google_network_connectivity_service_connection_policy" "memorystore" {
  project       = var.project
  name          = "${var.name}-memorystore"
  location      = var.region
  service_class = "gcp-memorystore"
  network       = var.network
  psc_config {
    subnetworks = [var.subnetwork]
  }
  depends_on = [google_project_service.api]
}

resource "google_memorystore_instance" "fleet" {
  project                 = var.project
  instance_id             = var.name
  location                = var.region
  mode                    = "CLUSTER_DISABLED"
  shard_count             = 1
  replica_count           = 0
  node_type               = var.node_type
  authorization_mode      = "IAM_AUTH"
  transit_encryption_mode = "SERVER_AUTHENTICATION"

  # It holds nothing that outlives it, so `terraform destroy` may remove it.
  deletion_protection_enabled = false

  # All keys expire by themselves. Without memory it must refuse, and not evict the list of the members.
  engine_configs = { maxmemory-policy = "noeviction" }

  desired_auto_created_endpoints {
    network    = var.network
    project_id = var.project
  }

  depends_on = [google_network_connectivity_service_connection_policy.memorystore]
}

locals {
  connections = flatten(google_memorystore_instance.fleet.endpoints[*].connections[*].psc_auto_connection)
  # The address that leads to the primary node; that of a cluster is its discovery endpoint.
  primary = [for one in local.connections : one if contains(["CONNECTION_TYPE_PRIMARY", "CONNECTION_TYPE_DISCOVERY"], one.connection_type)]
}

output "url" {
  description = "The value of fleet.url."
  value       = "rediss://${local.primary[0].ip_address}:${local.primary[0].port}"
}

output "ca" {
  description = "The authorities of its certificate (PEM), for fleet.tls.ca_file."
  value       = join("\n", flatten(google_memorystore_instance.fleet.managed_server_ca[*].ca_certs[*].certificates))
}
