/** How an attribute is kept: `text` is compared in any case, `exact` is not. */
export interface Attribute {
  column: string;
  type: 'text' | 'exact' | 'boolean' | 'number' | 'time';
}

/** SCIM attribute names in lower case → where they are kept. What is not here can be neither searched nor sorted by. */
export type Attributes = Readonly<Record<string, Attribute>>;
