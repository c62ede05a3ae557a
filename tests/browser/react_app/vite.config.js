export default {
  base: "/react/",
  esbuild: { jsx: "automatic" },
  // The second one shows the component of the documentation, the others a chat.
  build: {
    rollupOptions: {
      input: ["index.html", "documented.html", "chat.html", "chat5.html"],
    },
  },
};
