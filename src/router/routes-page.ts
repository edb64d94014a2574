import type { RouteTable } from './table.ts';

/** The whole table for `/routes`: uri → endpoints, as gorouter shows it. */
export function routesPage(table: RouteTable): Record<string, unknown[]> {
  const page: Record<string, unknown[]> = {};
  for (const route of table.routes()) {
    page[route.uri] = route.members.map(({ endpoint, ttl_s }) => ({
      address: endpoint.address,
      tls: endpoint.isTls,
      ttl: ttl_s,
      ...(route.route_service_url !== '' && { route_service_url: route.route_service_url }),
      tags: endpoint.tags ?? null,
      ...(endpoint.isolation_segment !== '' && { isolation_segment: endpoint.isolation_segment }),
      ...(endpoint.instance_id !== '' && { private_instance_id: endpoint.instance_id }),
      ...(endpoint.server_cert_domain_san !== '' && { server_cert_domain_san: endpoint.server_cert_domain_san }),
      protocol: endpoint.isHttp2 ? 'http2' : 'http1',
      ...(route.loadBalancing !== undefined && { load_balancing_algorithm: route.loadBalancing }),
    }));
  }
  return page;
}
