import type { Attributes } from '../scim/attributes.ts';

export const GROUP_ATTRIBUTES: Attributes = {
  id: { column: 'id', type: 'exact' },
  displayname: { column: 'display_name', type: 'text' },
  description: { column: 'description', type: 'text' },
  created: { column: 'created_at', type: 'time' },
  'meta.created': { column: 'created_at', type: 'time' },
  lastmodified: { column: 'updated_at', type: 'time' },
  'meta.lastmodified': { column: 'updated_at', type: 'time' },
  'meta.version': { column: 'version', type: 'number' },
};
