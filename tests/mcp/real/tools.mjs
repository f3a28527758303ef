// The tools of a server: who has the scope `read` may add, who has `write` too may keep.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import * as z from 'zod/v4';

const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });

// The scopes that one message needs; `body` is its JSON.
export function needed(body) {
  return body?.params?.name === 'keep' ? ['read', 'write'] : ['read'];
}

// The answer to a request that was let in.
export async function answer(request) {
  const server = new McpServer({ name: 'Numbers', version: '1' });
  const inputSchema = { a: z.number(), b: z.number() };
  server.registerTool('add', { description: 'Add two numbers.', inputSchema }, async ({ a, b }) => text(a + b));
  server.registerTool('keep', { description: 'Keep two numbers.', inputSchema }, async ({ a, b }) => text(`${a} ${b}`));
  const transport = new WebStandardStreamableHTTPServerTransport();
  await server.connect(transport);
  return transport.handleRequest(request);
}
